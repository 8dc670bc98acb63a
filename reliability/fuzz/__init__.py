"""The fuzzer: damaged tiles, wrong forms and odd queries. The bytes of a case follow from its number alone."""
