"""What agents make of stories: gold over KL while they learn, on gold itself and on naive rewards.

Every run begins as the shipped model, writes 64 rows of stories, and is looked at on the way and at its end: the truth
of its stories about held-out briefs, their length and repetition, and their exact KL from the model.
On gold quality contradictions are to be halved within 10 nats, and stories to stay stories: at least 80% as long as the
model's, at most twice its rep-4. On a naive reward it shows what the reward is about.

    python -m textgym.benchmarks.story_agents gold --out story.jsonl        # goes on where an earlier call stopped
    python -m textgym.benchmarks.story_agents naive --out story.jsonl --minutes 30
    python -m textgym.benchmarks.story_agents --show story.jsonl
"""
