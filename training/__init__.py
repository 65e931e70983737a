"""The verbs (finetune, evaluate, sweep) and the jobs that run them in the background."""
