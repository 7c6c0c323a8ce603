"""Training: MS-Swift rows from a manifest, the `swift` command, and its launch by Ray Train."""
