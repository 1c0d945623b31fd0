"""Changes to a batch that leave its meaning alone: `(B, C, T)` to `(B, C, T)`, pure and differentiable.

An augmentation here draws nothing. Its chance comes in as an argument: uniform numbers `u`, a few for each
row, made by `draws` from the seed, the step, the row's own id and a stream. A random generator would be
consumed in the order of the batch, so that two processes with half a batch each would see other numbers than
one process with the whole; a draw that is a hash of who the row is does not care where the row is.

    u = draws.uniform(seed, step, rows, 1, stream=0)     # (B, 1)
    x = shift(x, u, most=250)

Give every augmentation of a step its own stream. Every strength has a zero that returns the input. `spectrum` is
for log-mel spectrograms `(B, bands, frames)`; `transformed` has no chance in it, and makes classes.
"""
