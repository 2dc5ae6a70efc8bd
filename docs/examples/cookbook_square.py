"""The app: the function that a pool of processes ran."""


def square(number):
    return str(int(number) ** 2)
