"""The proof, given in the first step, that the rules form autograd's gradients and that examples stay apart."""
