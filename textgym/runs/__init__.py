"""Whole runs: pretrain by maximum likelihood, fine-tune by reward, evaluate before and after, save everything."""
