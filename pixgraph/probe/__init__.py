"""What a frozen embedding is worth: linear classification, retrieval, few-shot scores, and pictures to look at."""
