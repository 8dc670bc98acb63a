"""Bundles whose label rests on the area of nuclei as well, with known numbers."""

from app.pipeline.manifest import DescriptorMeasurement, ImageLevel

AREA = DescriptorMeasurement(measurement="area_um2", title="Nuclear area", centre=20.0, scale=4.0)


def with_area(model: ImageLevel, weight: float) -> ImageLevel:
    """The model, whose SVM knows the area as well: (area − 20) / 4 has this weight."""

    def longer(svm):
        return svm.model_copy(update={"weights": (*svm.weights, weight)})

    fitted = {
        name: tuple(map(longer, getattr(model.conformal, name))) for name in ("without_a_normal", "without_an_abnormal")
    }
    changes = {
        "descriptor": "proportions+measurements",
        "measurements": (AREA,),
        "svm": longer(model.svm),
        "conformal": model.conformal.model_copy(update=fitted),
    }
    return model.model_copy(update=changes)
