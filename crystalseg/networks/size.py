"""SizeModel: the mean crystal diameter from CPNet's style vector by linear regression (Stringer et al. 2021)."""

import torch
from torch import Tensor, nn

from crystalseg.networks.cellpose import STYLE


class SizeModel(nn.Module):
    """Takes style vectors (B, 256); returns the natural logarithm of the mean crystal diameter in px, (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(STYLE, 1)

    def forward(self, style: Tensor) -> Tensor:
        return self.linear(style)[:, 0]

    @torch.no_grad()
    def fit(self, styles: Tensor, diameters: Tensor, ridge: float = 1.0) -> None:
        """Fit by least squares with a ridge penalty on the centred data: `styles` (n, 256), `diameters` (n,) px."""
        target = diameters.double().log()
        mean, level = styles.double().mean(dim=0), target.mean()
        x = styles.double() - mean
        weight = torch.linalg.solve(x.T @ x + ridge * torch.eye(STYLE, dtype=torch.double), x.T @ (target - level))
        self.linear.weight.copy_(weight[None].float())
        self.linear.bias.copy_((level - mean @ weight).float()[None])
