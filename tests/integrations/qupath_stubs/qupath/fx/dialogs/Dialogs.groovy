package qupath.fx.dialogs

import javafx.scene.control.PasswordField
import stubs.Scene

class Dialogs {
    static void showErrorMessage(String title, String message) {
        Scene.happened(error: message)
    }

    static boolean showConfirmDialog(String title, PasswordField field) {
        Scene.happened(asked: title)
        field.text = Scene.given.key
        return Scene.given.key != null
    }
}
