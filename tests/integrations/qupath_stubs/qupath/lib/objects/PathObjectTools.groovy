package qupath.lib.objects

import java.awt.geom.AffineTransform
import stubs.Thing

class PathObjectTools {
    static transformObject(Thing thing, AffineTransform transform, boolean copyMeasurements) {
        assert copyMeasurements
        new Thing(kind: thing.kind, name: thing.name, id: thing.id, ROI: thing.ROI.moved(transform),
            pathClass: thing.pathClass, color: thing.color, measurements: thing.measurements)
    }
}
