"""Read Prometheus' text format as Prometheus does."""

from prometheus_client.parser import text_string_to_metric_families


def parsed(text):
    """Samples of GET /metrics: (name, labels as sorted pairs) → value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples, name, **labels):
    """The one sample of this name and labels; 0 where there is none."""
    return samples.get((name, tuple(sorted(labels.items()))), 0)


def labels_of(samples, name, label):
    """All values of a label of a metric."""
    return {dict(labels).get(label) for found, labels in samples if found == name}
