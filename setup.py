"""Where the folders land when installed, and the plug-ins that ship; all else is in pyproject.toml."""

from setuptools import setup

PACKAGE_DIR = {
    "edgeexit": "edgeexit",
    "edgeexit.governors": "governors",
    "edgeexit.profiles": "profiles",
}
PACKAGES = [
    "edgeexit",
    "edgeexit.bundle",
    "edgeexit.bundle.graph",
    "edgeexit.cli",
    "edgeexit.client",
    "edgeexit.daemon",
    "edgeexit.daemon.clockd",
    "edgeexit.daemon.grpc",
    "edgeexit.daemon.http",
    "edgeexit.daemon.seeing",
    "edgeexit.daemon.seeing.static",
    "edgeexit.daemon.units",
    "edgeexit.device",
    "edgeexit.exits",
    "edgeexit.governors",
    "edgeexit.offline",
    "edgeexit.offline.compress",
    "edgeexit.offline.data",
    "edgeexit.offline.graph",
    "edgeexit.offline.guarantee",
    "edgeexit.offline.heads",
    "edgeexit.offline.preparing",
    "edgeexit.offline.replaying",
    "edgeexit.offline.reporting",
    "edgeexit.open_inference",
    "edgeexit.profiles",
    "edgeexit.reference",
    "edgeexit.runtime",
    "edgeexit.runtime.engine",
    "edgeexit.testing",
]
PACKAGE_DATA = {
    "edgeexit": ["py.typed"],
    "edgeexit.daemon.seeing.static": ["*.css", "*.html", "*.js", "*.svg"],
    "edgeexit.daemon.units": ["*.conf", "*.service", "*.toml"],
    "edgeexit.profiles": ["*.json"],
    "edgeexit.reference": ["*.npz", "*/*.json", "*/*.onnx"],
}
ENTRY_POINTS = {
    "console_scripts": ["edgeexit = edgeexit.cli:main"],
    "edgeexit.governors": [
        "deadline = edgeexit.governors.deadline:Deadline",
        "fixed = edgeexit.governors.fixed:Fixed",
        "interactive = edgeexit.governors.interactive:Interactive",
        "ondemand = edgeexit.governors.ondemand:Ondemand",
        "performance = edgeexit.governors.performance:Performance",
        "plan = edgeexit.governors.plan:Plan",
        "power-cap = edgeexit.governors.power_cap:PowerCap",
        "powersave = edgeexit.governors.powersave:Powersave",
        "predictive-exit = edgeexit.governors.predictive_exit:PredictiveExit",
        "schedutil = edgeexit.governors.schedutil:Schedutil",
        "stock = edgeexit.governors.stock:Stock",
        "temperature-ceiling = edgeexit.governors.temperature_ceiling:TemperatureCeiling",
    ],
    "edgeexit.exit_rules": [
        "check-and-cap = edgeexit.exits.check_and_cap:CheckAndCap",
        "ensemble = edgeexit.exits.ensemble:Ensemble",
        "entropy = edgeexit.exits.entropy:Entropy",
        "fixed = edgeexit.exits.fixed:Fixed",
        "forecast = edgeexit.exits.forecast:Forecast",
        "gate = edgeexit.exits.gate:Gate",
        "last = edgeexit.exits.last:Last",
        "margin = edgeexit.exits.margin:Margin",
        "patience = edgeexit.exits.patience:Patience",
        "predictive-exit = edgeexit.exits.predictive_exit:PredictiveExit",
        "threshold = edgeexit.exits.threshold:Threshold",
    ],
}

setup(package_dir=PACKAGE_DIR, packages=PACKAGES, package_data=PACKAGE_DATA, entry_points=ENTRY_POINTS)
