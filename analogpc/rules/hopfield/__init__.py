"""Learning rules for Hopfield networks: equilibrium propagation and its references.

Contains rules whose states interact with the layers below and above through the two reads of one matrix.
To add a rule of this family, add one module here.
"""
