import pytest
import torch

from ultr.training import lazy_adam
from ultr.training.lazy_adam import LazyAdam


def gradients(n_steps, n_rows=50, length=3, lookups=120):
    """Sparse gradients, steps of them, in which rows stand several times."""
    rng = torch.Generator().manual_seed(0)
    for _ in range(n_steps):
        rows = torch.randint(n_rows - 5, (1, lookups), generator=rng)  # the last five are never looked up
        yield torch.sparse_coo_tensor(rows, torch.randn(lookups, length, generator=rng), (n_rows, length), check_invariants=False)


@pytest.mark.parametrize("piece", [7, 1 << 11])
@pytest.mark.parametrize("coalesced", [False, True])
def test_the_numbers_of_torch_sparse_adam(monkeypatch, piece, coalesced):
    monkeypatch.setattr(lazy_adam, "_PIECE", piece)
    start = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    tables = [start.clone().requires_grad_() for _ in range(2)]
    optimizers = [LazyAdam([tables[0]], lr=0.1), torch.optim.SparseAdam([tables[1]], lr=0.1)]
    for step, gradient in enumerate(gradients(20)):
        for table, optimizer in zip(tables, optimizers, strict=True):
            table.grad = gradient.coalesce() if coalesced else gradient.clone()
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)  # as a schedule does
            optimizer.step()
    torch.testing.assert_close(tables[0], tables[1], rtol=1e-5, atol=1e-6)
    assert (tables[0][:45] != start[:45]).all()
    assert torch.equal(tables[0][45:], start[45:])


def test_the_first_step_is_the_learning_rate_and_no_gradient_is_no_step():
    """By hand: after one step mean / sqrt(square) is the sign of the summed gradient, here 2 - 1 > 0 and 3 - 3 = 0."""
    table = torch.zeros(3, 2, requires_grad=True)
    optimizer = LazyAdam([table], lr=0.01)
    optimizer.step()
    assert not table.any()
    values = torch.tensor([[2.0, 3.0], [-1.0, -3.0]])
    table.grad = torch.sparse_coo_tensor(torch.tensor([[1, 1]]), values, (3, 2), check_invariants=False)
    optimizer.step()
    torch.testing.assert_close(table.detach(), torch.tensor([[0.0, 0.0], [-0.01, 0.0], [0.0, 0.0]]))
