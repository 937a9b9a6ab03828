"""From pictures to graphs: node sampling, typed edges, lattices, neighbours, and the attention operator on them."""
