"""What optimizers share that look at training examples one by one: answers, cost, progress, resuming."""
