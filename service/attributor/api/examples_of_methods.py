"""Examples of requests: layers, diagnostics, smoothing, other methods, pictures."""

from fastapi.openapi.models import Example

from attributor.api.example_requests import DIGIT, request

#: By name, in the order of the page.
METHODS: dict[str, Example] = {
    "layer": request(
        "A layer in place of the input",
        "Integrated gradients of a module's output, straight from its value at the baseline to that at the input; "
        "`cut` says whether all of the score passes through it.",
        DIGIT,
        layer={"name": "convolutions.2", "quantity": "layer_ig"},
    ),
    "conductance": request(
        "Conductance of a layer",
        "How much of the inputs' attribution flows through each unit (Dhamdhere, Sundararajan and Yan 2018).",
        DIGIT,
        layer={"name": "classifier.2", "quantity": "conductance"},
    ),
    "influence": request(
        "Internal influence of a layer",
        "The mean gradient at each unit along the path; does not add up (Leino, Sen, Datta, Fredrikson and Li 2018).",
        DIGIT,
        layer={"name": "classifier.2", "quantity": "influence"},
        target={"class": "2", "minus": "7", "scale": "logit"},
    ),
    "interior": request(
        "Interior gradients",
        "The gradients at points of the path, not added up, their importance per pixel and mean magnitude: where the "
        "model is sensitive before it saturates (Sundararajan, Taly and Yan 2016, section 2.3).",
        DIGIT,
        interior={"alphas": [0.02, 0.1, 0.5, 1.0]},
    ),
    "saturation": request(
        "Saturation along the path",
        "The score as probability and logit, and how far layers are from their output at the input, at all nodes "
        "(Sundararajan, Taly and Yan 2016, section 2.2).",
        DIGIT,
        saturation={"alphas": [0.2, 0.4, 0.6, 0.8], "layers": ["convolutions.4"]},
    ),
    "smoothing": request(
        "SmoothGrad around a method",
        "The mean over noisy copies of the input (Smilkov, Thorat, Kim, Viégas and Wattenberg 2017); `squared` and "
        "`variance` average squares (Hooker, Erhan, Kindermans and Kim 2019) or take the variance (Adebayo, Gilmer, "
        "Goodfellow and Kim 2018), and have no sign. `noise` is its standard deviation as a share of each feature's "
        "declared range (a table) or of the picture's value range; nothing is clipped.",
        DIGIT,
        smoothing={"form": "plain", "samples": 10, "noise": 0.1},
        seed=1,
    ),
    "saliency": request(
        "Saliency",
        "|gradient| at the input; with `absolute` false its sign too (Simonyan, Vedaldi and Zisserman 2014). It does "
        "not add up, and says so. Its units are score per unit of the input.",
        DIGIT,
        method="saliency",
        absolute=False,
    ),
    "gradient_x_input": request(
        "Gradient times input",
        "The first-order share of each feature (Shrikumar, Greenside, Shcherbina and Kundaje 2016).",
        DIGIT,
        method="gradient_x_input",
    ),
    "expected_gradients": request(
        "Expected gradients",
        "Random points on paths from random baselines, with a standard error; the baselines are samples of the model's "
        "reference set unless named (Erion, Janizek, Sturmfels, Lundberg and Lee 2021).",
        DIGIT,
        method="expected_gradients",
        samples=200,
        seed=3,
    ),
    "shapley": request(
        "Sampled Shapley values",
        "Average effect of switching a feature from the baseline to its value, over random orders; with a standard "
        "error (Castro, Gómez and Tejada 2009).",
        DIGIT,
        method="shapley",
        samples=25,
    ),
    "deep_lift": request(
        "DeepLIFT",
        "Differences to the baseline, carried back by rules (Shrikumar, Greenside and Kundaje 2017). This and the six "
        "below are computed with Captum, for comparison: each request starts a process, and takes some seconds. The "
        "worker needs the extra `comparators`; without it `methods` of the model leaves them out.",
        DIGIT,
        method="deep_lift",
        baseline="black",
    ),
    "lrp": request(
        "Layer-wise relevance propagation",
        "The score, carried back by rules (Bach, Binder, Montavon, Klauschen, Müller and Samek 2015). The option "
        "`spread_bias`: 1 hands on what reaches a bias.",
        DIGIT,
        method="lrp",
        target={"scale": "logit"},
    ),
    "guided_backpropagation": request(
        "Guided backpropagation",
        "Gradients without their negative parts at each ReLU (Springenberg, Dosovitskiy, Brox and Riedmiller 2015).",
        DIGIT,
        method="guided_backpropagation",
    ),
    "deconvolution": request(
        "Deconvolution",
        "Positive signals only, carried back (Zeiler and Fergus 2014).",
        DIGIT,
        method="deconvolution",
    ),
    "occlusion": request(
        "Occlusion",
        "How the score falls when a window of the input is replaced by the baseline (Zeiler and Fergus 2014).",
        DIGIT,
        method="occlusion",
        baseline="black",
        options={"window": 2, "stride": 1},
    ),
    "kernel_shap": request(
        "KernelSHAP",
        "Shapley values by weighted regression over random sets of features (Lundberg and Lee 2017). Random, with no "
        "standard error: try other seeds.",
        DIGIT,
        method="kernel_shap",
        options={"window": 2, "samples": 500},
    ),
    "lime": request(
        "LIME",
        "A linear model fitted around the input, by ridge regression, so that every feature or window has a number "
        "(Ribeiro, Singh and Guestrin 2016). Random, with no standard error: try other seeds.",
        DIGIT,
        method="lime",
        options={"samples": 500},
        seed=5,
    ),
    "urgent": request(
        "Before others, within two minutes, in bfloat16",
        "Jobs of a higher `priority` are taken first. A job that is not done `deadline_s` seconds after its creation "
        "fails with `deadline_exceeded`. With `bfloat16` matrix products and convolutions are faster, and the result "
        "says in `precision_error` what that costs.",
        DIGIT,
        priority="high",
        deadline_s=120,
        precision="bfloat16",
    ),
    "pictures": request(
        "Pictures",
        "Drawn with the answer, as base64 PNG with a legend; more can be drawn later without a second run.",
        DIGIT,
        visualizations=[{"kind": "overlay", "polarity": "positive"}, {"kind": "heatmap", "color_map": "green_red"}],
    ),
}
