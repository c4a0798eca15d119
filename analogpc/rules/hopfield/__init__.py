"""Learning rules for networks of Hopfield type: equilibrium propagation and its references.

Enters: rules whose states see the layers below and above through the two reads of one matrix.
A new rule of this family is a new module here, and nothing else.
"""
