"""Keep the rows that training learns from; every dropped row says by which rule."""
