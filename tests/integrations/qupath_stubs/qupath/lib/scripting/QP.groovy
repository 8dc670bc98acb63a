package qupath.lib.scripting

import stubs.Scene

class QP {
    static getCurrentImageData() { Scene.imageData }
}
