// Runs a script in the scenes of a file, one after the other in one session, as QuPath's script editor would.
// Arguments: the file of scenes, and the file for what happened in each.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import org.codehaus.groovy.runtime.InvokerHelper
import stubs.Scene

def compiled = [:].withDefault { path -> new GroovyClassLoader(this.class.classLoader).parseClass(new File(path)) }
def scenes = new JsonSlurper().parse(new File(args[0]), "UTF-8")
def outcomes = scenes.collect { scene ->
    Scene.open(scene)
    String thrown = null
    def output = new StringWriter()
    try {
        (scene.runs ?: 1).times {
            def binding = new Binding(out: new PrintWriter(output, true))
            InvokerHelper.createScript(compiled[(String) scene.script], binding).run()
        }
    } catch (Exception exception) {
        thrown = exception.message
    }
    return Scene.outcome() + [log: output.toString(), thrown: thrown]
}
new File(args[1]).setText(JsonOutput.toJson(outcomes), "UTF-8")
