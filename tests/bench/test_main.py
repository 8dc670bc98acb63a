from bench import __main__ as command


def test_q_is_measured_on_the_cpu_too_where_it_runs_on_a_gpu(monkeypatch):
    def pretend(module, system, **environment):
        assert system == "q"
        return {"rates": [{"device": "cpu" if environment.get("CUDA_VISIBLE_DEVICES") == "" else "cuda"}]}

    monkeypatch.setattr(command, "run_child", pretend)
    assert [rate["device"] for rate in command._q_rates()] == ["cuda", "cpu"]
