/*
 * Sends the selected annotation, or the whole image, to Marrowscope, and adds the cells that it finds as detections.
 *
 * For QuPath 0.5, 0.6 and 0.7. docs/viewers.md says how to install and use it. A second run on the same region replaces
 * the cells of the first one; other detections stay.
 *
 * For Research Use Only. Not for use in diagnostic procedures.
 */

import com.google.gson.JsonObject
import com.google.gson.JsonParser
import groovy.transform.Field
import java.awt.geom.AffineTransform
import java.awt.image.BufferedImage
import javafx.scene.control.PasswordField
import javax.imageio.ImageIO
import qupath.fx.dialogs.Dialogs
import qupath.lib.gui.QuPathGUI
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObjectTools
import qupath.lib.regions.RegionRequest
import qupath.lib.scripting.QP

// What you may want to change. The environment variables come first, where they are set.
@Field String ADDRESS = System.getenv("MARROWSCOPE_URL") ?: "http://127.0.0.1:8000"
@Field String BUNDLE = System.getenv("MARROWSCOPE_BUNDLE") ?: ""  // the service's default
@Field double DOWNSAMPLE = 1.0  // px of the image per px that is sent; 1 is the full resolution
@Field long MAX_PIXELS = 9000000L  // the service's MARROWSCOPE_MAX_PIXELS
@Field long MAX_BYTES = 20L * 1024 * 1024  // the service's MARROWSCOPE_MAX_BYTES
@Field int TIME_LIMIT_S = 300

@Field String TITLE = "Marrowscope"
@Field String NOTICE = "For Research Use Only. Not for use in diagnostic procedures."
@Field String KEY_VARIABLE = "MARROWSCOPE_API_KEY"
@Field String KEY_PROPERTY = "marrowscope.api.key"  // a key that was typed, until QuPath is closed
@Field String MARK = "Marrowscope"  // the metadata that marks a detection as ours

/** Why the analysis cannot be done, in words for the user. */
class Refusal extends Exception {
    Refusal(String message) {
        super(message)
    }
}

try {
    runAnalysis()
} catch (Refusal refusal) {
    println "${TITLE}: ${refusal.message}"
    if (QuPathGUI.getInstance() == null) {
        throw refusal  // `QuPath script` then ends with an error
    }
    Dialogs.showErrorMessage(TITLE, refusal.message)
}

void runAnalysis() {
    def imageData = QP.getCurrentImageData()
    if (imageData == null) {
        throw new Refusal("No image is open. Open one, and run the script again.")
    }
    println "${TITLE}: ${NOTICE}"
    def server = imageData.getServer()
    def selected = selectedArea(imageData)
    double mpp = pixelSize(server) * DOWNSAMPLE
    def region = regionOf(selected, server)

    BufferedImage tile = read(server, region)
    println "${TITLE}: ${tile.width} x ${tile.height} px at ${mpp} µm per px are sent to ${ADDRESS}"
    byte[] answer = analysed(asPng(tile), mpp)

    // A pixel of the tile is this many px of the image; DOWNSAMPLE, but for rounding at the border of the image.
    def toImage = new AffineTransform(
        region.width / (double) tile.width, 0, 0, region.height / (double) tile.height, region.x, region.y)
    def collection = JsonParser.parseString(new String(answer, "UTF-8")).getAsJsonObject()
    def bundle = collection.getAsJsonObject("bundle")
    def mark = bundle.get("name").getAsString() + " " + bundle.get("version").getAsString()
    def cells = PathIO.readObjectsFromGeoJSON(new ByteArrayInputStream(answer))
        .collect { PathObjectTools.transformObject(it, toImage, true) }
        .findAll { liesIn(it, selected) }
    cells.each { it.getMetadata().put(MARK, mark) }
    add(cells, selected, imageData.getHierarchy())
    report(cells, collection, mark, selected)
}

/** Return the annotation or TMA core that is selected; null, which stands for the whole image, if nothing is. */
def selectedArea(imageData) {
    def selected = imageData.getHierarchy().getSelectionModel().getSelectedObject()
    if (selected == null) {
        return null
    }
    if (!(selected.isAnnotation() || selected.isTMACore()) || !selected.getROI().isArea()) {
        throw new Refusal("Select an annotation that has an area, or nothing for the whole image.")
    }
    return selected
}

/** Return µm per px of the full resolution. */
double pixelSize(server) {
    if (!server.isRGB()) {
        throw new Refusal("The image is not RGB. Marrowscope analyses bright-field images, stained with H&E.")
    }
    if (server.nZSlices() > 1 || server.nTimepoints() > 1) {
        throw new Refusal("The image has several z-slices or time points. Marrowscope analyses images of one plane.")
    }
    def calibration = server.getPixelCalibration()
    if (!calibration.hasPixelSizeMicrons()) {
        throw new Refusal("The image does not say how large a pixel is. Set the pixel width and height in the tab "
            + "Image (double-click on them), in µm.")
    }
    double width = calibration.getPixelWidthMicrons(), height = calibration.getPixelHeightMicrons()
    double mean = calibration.getAveragedPixelSizeMicrons()
    if (Math.abs(width - height) > 0.03 * mean) {
        throw new Refusal("The pixels are not square: ${width} x ${height} µm. Correct them in the tab Image.")
    }
    return mean
}

/** Return x, y, width and height in whole px of the full resolution, within the image. */
Map regionOf(selected, server) {
    def roi = selected == null ? null : selected.getROI()
    int x0 = roi == null ? 0 : Math.max(0, (int) Math.floor(roi.getBoundsX()))
    int y0 = roi == null ? 0 : Math.max(0, (int) Math.floor(roi.getBoundsY()))
    int x1 = roi == null ? server.getWidth()
        : Math.min(server.getWidth(), (int) Math.ceil(roi.getBoundsX() + roi.getBoundsWidth()))
    int y1 = roi == null ? server.getHeight()
        : Math.min(server.getHeight(), (int) Math.ceil(roi.getBoundsY() + roi.getBoundsHeight()))
    if (x0 >= x1 || y0 >= y1) {
        throw new Refusal("The annotation lies outside the image.")
    }
    long width = Math.round((x1 - x0) / DOWNSAMPLE), height = Math.round((y1 - y0) / DOWNSAMPLE)
    if (width * height > MAX_PIXELS) {
        def what = selected == null ? "image" : "annotation"
        throw new Refusal("The ${what} has ${width} x ${height} pixels, and at most ${MAX_PIXELS} are analysed at "
            + "once. Select a smaller annotation. For a whole slide, run `marrowscope batch SLIDE --out DIR` in a "
            + "terminal, and drop the file cells.geojson that it writes on the image.")
    }
    return [x: x0, y: y0, width: x1 - x0, height: y1 - y0]
}

BufferedImage read(server, Map region) {
    try {
        return server.readRegion(RegionRequest.createInstance(
            server.getPath(), DOWNSAMPLE, region.x, region.y, region.width, region.height))
    } catch (IOException damaged) {
        throw new Refusal("The image cannot be read: ${damaged.message}")
    }
}

byte[] asPng(BufferedImage tile) {
    def stream = new ByteArrayOutputStream()
    ImageIO.write(tile, "png", stream)
    if (stream.size() > MAX_BYTES) {
        throw new Refusal("The region has ${stream.size()} bytes as PNG, and the service takes ${MAX_BYTES}. "
            + "Select a smaller annotation.")
    }
    return stream.toByteArray()
}

/** Return the answer of the service, as GeoJSON. It asks for a key once, if the service wants one. */
byte[] analysed(byte[] png, double mpp) {
    def key = System.getenv(KEY_VARIABLE) ?: System.getProperty(KEY_PROPERTY)
    def response = post(png, mpp, key)
    if (response.status == 401) {
        def typed = askedForKey(problem(response))
        response = post(png, mpp, typed)
        if (response.status != 401) {
            System.setProperty(KEY_PROPERTY, typed)
        }
    }
    if (response.status != 200) {
        throw new Refusal(problem(response))
    }
    if (!response.type.startsWith("application/geo+json")) {
        throw new Refusal("What answers at ${ADDRESS} is not Marrowscope: it sent ${response.type}.")
    }
    return response.body
}

/** Send the tile; return the status of the answer, its media type and its bytes. */
Map post(byte[] png, double mpp, String key) {
    def boundary = "marrowscope-" + UUID.randomUUID()
    def head = ("--${boundary}\r\nContent-Disposition: form-data; name=\"tile\"; filename=\"tile.png\"\r\n"
        + "Content-Type: image/png\r\n\r\n").getBytes("US-ASCII")
    def tail = "\r\n--${boundary}--\r\n".getBytes("US-ASCII")
    def query = "mpp=" + mpp + (BUNDLE ? "&bundle=" + URLEncoder.encode(BUNDLE, "UTF-8") : "")
    try {
        def connection = (HttpURLConnection) URI.create(ADDRESS.replaceAll(/\/+$/, "") + "/analyze?" + query)
            .toURL().openConnection()
        connection.setRequestMethod("POST")
        connection.setDoOutput(true)
        connection.setConnectTimeout(10 * 1000)
        connection.setReadTimeout(TIME_LIMIT_S * 1000)
        connection.setRequestProperty("Content-Type", "multipart/form-data; boundary=" + boundary)
        connection.setRequestProperty("Accept", "application/geo+json")
        if (key) {
            connection.setRequestProperty("X-API-Key", key)
        }
        connection.getOutputStream().withCloseable { stream ->
            stream.write(head)
            stream.write(png)
            stream.write(tail)
        }
        int status = connection.getResponseCode()
        def stream = status < 400 ? connection.getInputStream() : connection.getErrorStream()
        def body = stream == null ? new byte[0] : stream.bytes
        return [status: status, type: connection.getContentType() ?: "nothing", body: body]
    } catch (SocketTimeoutException late) {
        throw new Refusal("Marrowscope at ${ADDRESS} did not answer in time (${late.message}).")
    } catch (IOException away) {
        throw new Refusal("Marrowscope does not answer at ${ADDRESS} (${away.message ?: away}). Start it with "
            + "`make run`, or name another address in the environment variable MARROWSCOPE_URL.")
    } catch (IllegalArgumentException | ClassCastException wrong) {
        throw new Refusal("The address ${ADDRESS} is not one of http or https (${wrong.message}).")
    }
}

/** Return what the service said is wrong: the detail of a problem (RFC 9457), if it sent one. */
String problem(Map response) {
    try {
        if (response.type.startsWith("application/problem+json")) {
            JsonObject said = JsonParser.parseString(new String((byte[]) response.body, "UTF-8")).getAsJsonObject()
            def id = said.get("request_id").getAsString()
            return said.get("detail").getAsString() + " (status ${response.status}, request ${id})"
        }
    } catch (RuntimeException ignored) {
        // It is no such problem after all.
    }
    return "What answers at ${ADDRESS} refused the request with status ${response.status}, and gave no reason."
}

String askedForKey(String said) {
    if (QuPathGUI.getInstance() == null) {
        throw new Refusal("${said} Set the environment variable ${KEY_VARIABLE}.")
    }
    def field = new PasswordField()
    field.setPromptText("API key")
    if (!Dialogs.showConfirmDialog("${TITLE}: the service asks for an API key".toString(), field) || !field.getText()) {
        throw new Refusal(said)
    }
    return field.getText().trim()
}

/** Whether the middle of a cell lies in the annotation. The tile is the rectangle round it, and may hold more. */
boolean liesIn(cell, selected) {
    return selected == null || selected.getROI().contains(cell.getROI().getCentroidX(), cell.getROI().getCentroidY())
}

/** Put the cells below the annotation, in place of those of an earlier run. */
void add(List cells, selected, hierarchy) {
    def old = hierarchy.getDetectionObjects().findAll { it.getMetadata().containsKey(MARK) && liesIn(it, selected) }
    hierarchy.removeObjects(old, true)
    def parent = selected ?: hierarchy.getRootObject()
    parent.addChildObjects(cells)
    hierarchy.fireHierarchyChangedEvent(this)
    if (selected == null || selected.getChildObjects().any { it.isAnnotation() }) {
        hierarchy.resolveHierarchy()  // cells go to the smallest annotation that holds them
    }
}

void report(List cells, JsonObject collection, String mark, selected) {
    println "${TITLE}: ${cells.size()} cells, by bundle ${mark}"
    cells.countBy { it.getPathClass() == null ? "unclassified" : it.getPathClass().toString() }
        .sort { -it.value }
        .each { name, n -> println "    ${name}: ${n}" }
    if (selected == null || selected.getROI().getRoiName() == "Rectangle") {
        def label = collection.getAsJsonObject("label")  // it is that of the whole tile
        println "${TITLE}: ${label.get('value').getAsString()}. ${label.get('reason').getAsString()}"
    }
}
