"""Exercise 21: the chain rule through theta = theta0 + P z gives dz = P^T dtheta."""


def subspace_step(theta0, P, z, gradient, lr):
    theta = theta0 + P @ z
    return z - lr * P.T @ gradient(theta)
