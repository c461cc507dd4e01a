#!/usr/bin/env python3
"""Writes tests/fixtures/prediction_fit.json: the missing-sum fit as numpy computes it.

Weighted ridge regression with centred features, cut to width k (see PredictionFit). Takes no arguments and always writes the same numbers.
"""

import json
import pathlib

import own_venv

own_venv.enter()
import numpy as np  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKENS, INPUTS, INNER, HIDDEN, RIDGE, KS = 90, 12, 7, 10, 0.05, (0, 1, 4, 10)


def fit(x, inner, missing, weight, k):
    """The affine map that is fitted: coefficients [features, hidden] and its constant [hidden]."""
    features = np.concatenate([x, inner], axis=1)
    share = weight / weight.sum()
    feature_mean, missing_mean = share @ features, share @ missing
    if k == 0:
        return np.zeros((features.shape[1], HIDDEN)), missing_mean
    f, m = features - feature_mean, missing - missing_mean
    gram = f.T @ (weight[:, None] * f)
    diagonal = np.diag(gram)
    ridge = np.concatenate([np.full(INPUTS, diagonal[:INPUTS].mean()),
                            np.full(INNER, diagonal[INPUTS:].mean())]) * RIDGE
    full = np.linalg.solve(gram + np.diag(ridge), f.T @ (weight[:, None] * m))
    leading = np.linalg.eigh(full.T @ gram @ full)[1][:, ::-1][:, :k]
    cut = full @ leading @ leading.T
    return cut, missing_mean - feature_mean @ cut


def main():
    random = np.random.default_rng(11)
    x = random.normal(size=(TOKENS, INPUTS)).astype(np.float32)
    inner = (3 * random.normal(size=(TOKENS, INNER)) + 1).astype(np.float32)
    mix = random.normal(size=(INPUTS + INNER, HIDDEN))
    missing = (np.concatenate([x, inner], axis=1) @ mix + 0.5 + random.normal(size=(TOKENS, HIDDEN)))
    missing = missing.astype(np.float32)
    weight = random.uniform(0.2, 2.0, size=TOKENS)
    fits = []
    for k in KS:
        coefficients, constant = fit(x.astype(float), inner.astype(float), missing.astype(float),
                                     weight, k)
        fits.append({"k": k, "coefficients": coefficients.tolist(), "constant": constant.tolist()})
    fixture = {"ridge": RIDGE, "input": x.tolist(), "inner": inner.tolist(),
               "missing": missing.tolist(), "weight": weight.tolist(), "fits": fits}
    path = ROOT / "tests" / "fixtures" / "prediction_fit.json"
    path.write_text(json.dumps(fixture) + "\n")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
