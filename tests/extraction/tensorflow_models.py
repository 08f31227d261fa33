"""SavedModels with the released names, of a network of one matrix, as TensorFlow 1 and 2 write them."""

import numpy as np
import tensorflow as tf

SCALES = [0.5, 1.0]
KERNEL = np.array([[1.0, 0.2], [0.1, -1.0], [0.3, 0.7]], np.float32)  # RGB to descriptors of two numbers
STEP = 8


def network(image, scales, threshold, limit, chosen, kernel):
    """A little model with the released outputs: cells of 8 x 8 pixels, their mean colour times a matrix."""
    count = tf.shape(scales)[0]

    def at(i):
        size = tf.cast(tf.round(tf.cast(tf.shape(image)[:2], tf.float32) * scales[i]), tf.int32)
        pixels = tf.image.resize(tf.cast(image, tf.float32)[None], size) / 255
        cells = tf.nn.avg_pool2d(pixels, STEP, STEP, "VALID")
        shape = tf.shape(cells)
        flat = tf.reshape(cells, [-1, 3])
        ys, xs = tf.meshgrid(tf.range(shape[1]), tf.range(shape[2]), indexing="ij")
        corner = tf.cast(STEP * tf.reshape(tf.stack([ys, xs], -1), [-1, 2]), tf.float32)
        scores = 100 * tf.reduce_sum(tf.square(flat), 1)
        kept = tf.where(scores >= threshold)[:, 0]
        rows = tf.concat([corner - 20, corner + 20], 1) / scales[i]
        local = [rows, flat @ kernel, tf.fill([tf.size(scores), 1], 1 / scales[i]), scores[:, None]]
        return tf.gather(tf.concat(local, 1), kept), tf.reduce_mean(flat, 0, keepdims=True) @ kernel

    def step(i, table, descriptors):
        rows, descriptor = at(i)
        wanted = tf.reduce_any(tf.equal(i, chosen))
        more = tf.cond(wanted, lambda: descriptor, lambda: tf.zeros([0, 2]))
        return i + 1, tf.concat([table, rows], 0), tf.concat([descriptors, more], 0)

    start = (tf.constant(0), tf.zeros([0, 8]), tf.zeros([0, 2]))
    shapes = (tf.TensorShape([]), tf.TensorShape([None, 8]), tf.TensorShape([None, 2]))
    _, table, descriptors = tf.while_loop(lambda i, *_: i < count, step, start, shape_invariants=shapes)
    best = tf.gather(table, tf.math.top_k(table[:, 7], tf.minimum(limit, tf.shape(table)[0])).indices)
    return {
        "boxes": best[:, :4],
        "features": best[:, 4:6],
        "scales": best[:, 6],
        "scores": best[:, 7:],
        "global_descriptors": descriptors,
    }


def write_tf1(folder, outputs=("boxes", "features", "scales", "scores", "global_descriptors"), kernel=KERNEL):
    """A SavedModel as TensorFlow 1 wrote it: its own control flow, official tensor names, no signature."""
    v1 = tf.compat.v1
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default(), v1.Session() as session:
            image = v1.placeholder(tf.uint8, [None, None, 3], "input_image")
            scales = v1.placeholder(tf.float32, [None], "input_scales")
            threshold = limit = chosen = None
            if "boxes" in outputs:
                threshold = v1.placeholder(tf.float32, [], "input_abs_thres")
                limit = v1.placeholder(tf.int32, [], "input_max_feature_num")
            if "global_descriptors" in outputs:
                chosen = v1.placeholder(tf.int32, [None], "input_global_scales_ind")
            weights = v1.get_variable("kernel", initializer=kernel, use_resource=False)
            missing = tf.constant(0.0), tf.constant(1), tf.constant([0])
            inputs = [new if given is None else given for given, new in zip((threshold, limit, chosen), missing)]
            results = network(image, scales, *inputs, weights)
            for name in outputs:
                tf.identity(results[name], name)
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(str(folder))
            builder.add_meta_graph_and_variables(session, ["serve"])
            builder.save()
    finally:
        v1.enable_control_flow_v2()
    return folder


def write_tf2(folder, function, *specs):
    """A SavedModel with one signature."""
    module = tf.Module()
    tf.saved_model.save(module, str(folder), {"serving_default": tf.function(function, input_signature=specs)})
    return folder


def expected(image, scales=SCALES, threshold=0.0, limit=1000, chosen=(0, 1)):
    """The outputs of the network, run eagerly."""
    outputs = network(tf.constant(image), tf.constant(scales, tf.float32), threshold, limit, list(chosen), KERNEL)
    return {name: value.numpy() for name, value in outputs.items()}
