package qupath.lib.gui

import stubs.Scene

class QuPathGUI {
    static QuPathGUI getInstance() { Scene.given.headless ? null : new QuPathGUI() }
}
