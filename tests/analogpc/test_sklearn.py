"""The estimators: scikit-learn's own checks, pipelines, searches over processes, pickles."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import check_estimator

import analogpc as apc
from analogpc.sklearn import PCClassifier, PCRegressor

SMALL = {"hidden": (16,), "epochs": 12, "learning_rate": 0.05}
# scikit-learn looks at array API inputs only where SCIPY_ARRAY_API is set before everything is imported.
SKIPPED = {"check_array_api_input"}


@pytest.mark.parametrize("estimator", [PCClassifier(**SMALL), PCRegressor(**SMALL)], ids=lambda e: type(e).__name__)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_is_content(estimator):
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 40
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] != "passed"}
    assert failed.keys() <= SKIPPED, failed


def test_pipelines_searches_and_scores():
    x, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = make_pipeline(PolynomialFeatures(2), PCClassifier(epochs=20, hidden=(16,), learning_rate=0.01))
    search = GridSearchCV(model, {"pcclassifier__rule": ["bp", "s+f"]}, n_jobs=2, cv=2).fit(x, names)
    assert search.best_score_ > 0.85
    assert set(search.predict(x)) == set(names)
    assert (cross_val_score(PCClassifier(epochs=20, hidden=(16,), learning_rate=0.01), x, y, cv=3) > 0.85).all()


def test_on_crossbars_with_a_validation_part():
    x, y = load_iris(return_X_y=True)
    model = PCClassifier(hidden=(16,), device="idealized", epochs=12, validation_fraction=0.2, patience=6, random_state=1).fit(
        x, y
    )
    assert model.score(x, y) > 0.85
    assert model.run_.study.substrate.device.name == "idealized"
    assert len(model.run_.history["validation_accuracy"]) == model.n_iter_


def test_fitted_estimators_networks_and_runs_pickle(tmp_path):
    x, y = load_diabetes(return_X_y=True)
    model = PCRegressor(hidden=(16,), epochs=5, device=apc.preset("idealized").name, dtype="float32").fit(x, y)
    joblib.dump(model, tmp_path / "model.joblib")
    back = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(back.predict(x), model.predict(x))
    run = pickle.loads(pickle.dumps(model.run_))
    assert run.history == model.run_.history
    same = [one.train((x, (y - y.mean()) / y.std()), epochs=1, progress=False) for one in (run, model.run_)]
    np.testing.assert_array_equal(same[0].predict(x), same[1].predict(x))
    net = apc.mlp([4, 3, 2], substrate=apc.Analog(device="reram-sb"), seed=3)
    twin = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(twin.predict(x[:, :4]), net.predict(x[:, :4]))
    for name, matrix in twin.on(apc.Digital()).matrices().items():  # It still knows the weights it was initialised with.
        np.testing.assert_array_equal(matrix.weights(), net.on(apc.Digital()).matrices()[name].weights())
