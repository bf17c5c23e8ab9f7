"""The tests of the functions under other versions of Python and boto3 than the project's own."""
