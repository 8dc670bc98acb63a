package qupath.lib.regions

class RegionRequest {
    String path
    double downsample
    int x, y, width, height

    static RegionRequest createInstance(String path, double downsample, int x, int y, int width, int height) {
        new RegionRequest(path: path, downsample: downsample, x: x, y: y, width: width, height: height)
    }
}
