"""The app: the function that a pool of processes ran."""


def square(number: bytes) -> str:
    return str(int(number) ** 2)
