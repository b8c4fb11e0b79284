"""The rules of money and time, as plain functions over frozen values.

Imports the standard library and itself only; knows no clock, no database, no Hub.
"""
