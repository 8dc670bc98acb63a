package qupath.lib.io

import groovy.json.JsonSlurper
import stubs.Roi
import stubs.Thing

class PathIO {
    static List readObjectsFromGeoJSON(InputStream stream) {
        new JsonSlurper().parse(stream, "UTF-8").features.collect { feature ->
            def properties = feature.properties, classified = properties.classification
            new Thing(kind: properties.objectType, name: properties.name, id: feature.id,
                ROI: Roi.polygon(feature.geometry.coordinates), pathClass: classified?.name, color: classified?.color,
                measurements: properties.measurements)
        }
    }
}
