package stubs

import java.awt.geom.AffineTransform
import java.awt.geom.Ellipse2D
import java.awt.geom.Path2D
import java.awt.geom.Rectangle2D
import java.awt.image.BufferedImage
import javax.imageio.ImageIO

/** What a test set up in place of QuPath, and what the script did to it. */
class Scene {
    static Map given
    static List<Map> events
    static ImageData imageData

    static void open(Map scene) {
        given = scene
        events = []
        imageData = scene.image == null ? null : new ImageData()
    }

    static void happened(Map event) {
        events << event
    }

    /** Return what happened, and which detections there are. */
    static Map outcome() {
        def all = imageData == null ? [] : imageData.hierarchy.root.descendants()
        def detections = all.findAll { it.isDetection() }.collect {
            [id: it.id, name: it.name, parent: it.parent.name, class: it.pathClass?.toString(), color: it.color,
             measurements: it.measurements, metadata: it.metadata, points: it.ROI.points()]
        }
        return [events: events, detections: detections]
    }
}

class ImageData {
    final Hierarchy hierarchy = new Hierarchy()
    final Server server = new Server()
}

class Server {
    private final BufferedImage pixels = ImageIO.read(new File((String) Scene.given.image))

    String getPath() { "stub" }
    int getWidth() { pixels.width }
    int getHeight() { pixels.height }
    boolean isRGB() { Scene.given.rgb != false }
    int nZSlices() { (int) (Scene.given.slices ?: 1) }
    int nTimepoints() { 1 }
    Calibration getPixelCalibration() { new Calibration() }

    BufferedImage readRegion(request) {
        assert request.path == path
        Scene.happened(read: [request.downsample, request.x, request.y, request.width, request.height])
        def part = pixels.getSubimage(request.x, request.y, request.width, request.height)
        int width = Math.round(part.width / request.downsample), height = Math.round(part.height / request.downsample)
        def copy = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB)
        copy.createGraphics().drawImage(part, 0, 0, width, height, null)
        return copy
    }
}

class Calibration {
    boolean hasPixelSizeMicrons() { Scene.given.um != null }
    double getPixelWidthMicrons() { Scene.given.um[0] }
    double getPixelHeightMicrons() { Scene.given.um[1] }
    double getAveragedPixelSizeMicrons() { (pixelWidthMicrons + pixelHeightMicrons) / 2 }
}

class Hierarchy {
    final Thing root = new Thing(kind: "root", name: "root")
    final Map<String, Thing> named = [root: root]

    Hierarchy() {
        Scene.given.objects.each { Map one ->
            def thing = new Thing(kind: one.kind, name: one.name, ROI: Roi.of(one), metadata: one.metadata ?: [:])
            named[one.parent ?: "root"].addChildObjects([thing])
            named[one.name] = thing
        }
    }

    def getRootObject() { root }
    def getSelectionModel() { [getSelectedObject: { named[Scene.given.selected] }] as Selection }
    List getDetectionObjects() { root.descendants().findAll { it.isDetection() } }
    void fireHierarchyChangedEvent(Object source) { Scene.happened(fired: true) }
    void resolveHierarchy() { Scene.happened(resolved: true) }

    void removeObjects(Collection things, boolean keepChildren) {
        assert keepChildren
        things.each { it.parent.children.remove(it) }
    }
}

interface Selection {
    Object getSelectedObject()
}

class Thing {
    String kind, name, id
    Roi ROI
    Thing parent
    Object pathClass
    List color
    Map measurements = [:]
    Map<String, String> metadata = [:]
    final List<Thing> children = []

    boolean isAnnotation() { kind == "annotation" }
    boolean isDetection() { kind == "detection" }
    boolean isTMACore() { kind == "core" }
    Map<String, String> getMetadata() { metadata }
    Collection getChildObjects() { children }

    void addChildObjects(Collection things) {
        things.each { it.parent = this }
        children.addAll(things)
    }

    List<Thing> descendants() { children.collectMany { [it] + it.descendants() } }
}

class Roi {
    final String kind
    final java.awt.Shape shape
    final List rings

    Roi(String kind, java.awt.Shape shape, List rings = null) {
        this.kind = kind
        this.shape = shape
        this.rings = rings
    }

    static Roi of(Map one) {
        if (one.rectangle) return new Roi("Rectangle", new Rectangle2D.Double(*one.rectangle.collect { (double) it }))
        if (one.ellipse) return new Roi("Ellipse", new Ellipse2D.Double(*one.ellipse.collect { (double) it }))
        return new Roi("Line", new Rectangle2D.Double(0, 0, 0, 0))
    }

    static Roi polygon(List rings) {
        def path = new Path2D.Double(Path2D.WIND_EVEN_ODD)
        rings.each { ring ->
            path.moveTo(ring[0][0] as double, ring[0][1] as double)
            ring.tail().each { path.lineTo(it[0] as double, it[1] as double) }
            path.closePath()
        }
        return new Roi("Polygon", path, rings)
    }

    Roi moved(AffineTransform by) {
        polygon(rings.collect { ring -> ring.collect { point ->
            double[] at = [point[0] as double, point[1] as double] as double[]
            by.transform(at, 0, at, 0, 1)
            [at[0], at[1]]
        } })
    }

    List points() { rings }
    String getRoiName() { kind }
    boolean isArea() { kind != "Line" }
    double getBoundsX() { shape.bounds2D.x }
    double getBoundsY() { shape.bounds2D.y }
    double getBoundsWidth() { shape.bounds2D.width }
    double getBoundsHeight() { shape.bounds2D.height }
    double getCentroidX() { shape.bounds2D.centerX }
    double getCentroidY() { shape.bounds2D.centerY }
    boolean contains(double x, double y) { shape.contains(x, y) }
}
