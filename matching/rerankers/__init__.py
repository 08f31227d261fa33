"""Rerankers give the first candidates of a ranking a new order; :mod:`matching.rerankers.table` names them."""
