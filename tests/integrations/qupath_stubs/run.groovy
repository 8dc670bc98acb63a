// Runs a script in the scenes of a file, one after the other in one session, as QuPath's script editor does
// (`DefaultScriptLanguage`): compiled once by the script engine of Groovy, with QuPath's imports before it.
// Arguments: the file of scenes, and the file for what happened in each.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import javax.script.SimpleScriptContext
import org.codehaus.groovy.jsr223.GroovyScriptEngineImpl
import stubs.Scene

def imports = "import qupath.lib.scripting.QP\nimport qupath.lib.regions.RegionRequest\n" +
    "import static qupath.lib.scripting.QP.*\n"
def engine = new GroovyScriptEngineImpl(new GroovyClassLoader(this.class.classLoader))
def compiled = [:].withDefault { path -> engine.compile(imports + "\n" + new File(path).getText("UTF-8")) }
def scenes = new JsonSlurper().parse(new File(args[0]), "UTF-8")
def outcomes = scenes.collect { scene ->
    Scene.open(scene)
    String thrown = null
    def output = new StringWriter()
    try {
        (scene.runs ?: 1).times {
            compiled[(String) scene.script].eval(new SimpleScriptContext(writer: output))
        }
    } catch (Exception exception) {
        thrown = exception.message
    }
    return Scene.outcome() + [log: output.toString(), thrown: thrown]
}
new File(args[1]).setText(JsonOutput.toJson(outcomes), "UTF-8")
