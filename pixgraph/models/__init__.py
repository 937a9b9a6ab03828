"""Evidence, the encoder-decoder GNN, the training-free propagation, and upsampling to the picture."""
