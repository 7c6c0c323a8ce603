"""Synthetic videos and a tiny Qwen3-Omni: the whole system without a download or an accelerator.

The videos show a cartoon face that smiles or frowns while a tone sounds bright or dull. Where the
two disagree stands in for ambivalence: a clip can only be judged by comparing what is seen with
what is heard. Of a third kind are clips of a whole person whose face, body and voice show different
emotions, each named by a word.
"""
