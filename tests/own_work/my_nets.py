"""A network outside of adabatch."""

from torch import Tensor, nn

import adabatch


class Net(nn.Module):
    """A two-layer perceptron on flattened images."""

    def __init__(self, num_channels: int, image_size: int, num_classes: int, width: int = 16, dropout: float = 0.0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(num_channels * image_size**2, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


@adabatch.register_network("my_linear")
def linear(num_channels: int, image_size: int, num_classes: int) -> nn.Module:
    """Return a linear classifier."""
    return nn.Sequential(nn.Flatten(), nn.Linear(num_channels * image_size**2, num_classes))


def unmarked(num_classes: int) -> nn.Module:
    """Return a network, but without the decorator."""
    return nn.Linear(1, num_classes)
