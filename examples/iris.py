"""The tutorial's Iris: softmax regression, as scikit-learn has it, with a model directory.

Run it twice: the second time all steps are found done in the directory, and none is taken.
"""

import sys

from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

import recurra as rc


def main(model_dir="models/iris", steps=800):
    X, y = load_iris(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    model = rc.SoftmaxClassifier(steps=steps, random_state=0, model_dir=model_dir)
    model.fit(X_train, y_train)
    accuracy = model.score(X_test, y_test)
    taken = len(model.loss_curve_)
    print(f"{taken} steps taken, {model.n_iter_} in all; accuracy {accuracy:.2%}")
    return taken, accuracy


if __name__ == "__main__":
    main(*sys.argv[1:2])
