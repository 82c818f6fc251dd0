"""The smallest models of each family, with random weights, written by the libraries themselves."""

import json

import segmentation_models_pytorch as smp
import transformers

SIDE = 64  # px, what they see
_SQUARE = {"height": SIDE, "width": SIDE}
_PROMPTS = {"hidden_size": 16, "image_size": SIDE, "patch_size": 8, "mask_input_channels": 4}
_DECODER = {"hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
_DECODER["iou_head_hidden_dim"] = 16
_HEADS = {"prompt_encoder_config": _PROMPTS, "mask_decoder_config": _DECODER}
_VISION = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8}
_VISION |= {"output_channels": 16, "window_size": 4, "global_attn_indexes": [0, 1], "mlp_dim": 32, "num_pos_feats": 8}
_SMALL = {"num_queries": 12, "num_labels": 1, "mask_feature_size": 32}
_LAYERS = {"encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2}
_LAYERS |= {"encoder_feedforward_dim": 16, "dim_feedforward": 16, "train_num_points": 16}


def _swin():
    stages = [f"stage{k}" for k in (1, 2, 3, 4)]
    heads = [1, 1, 2, 2]
    return transformers.SwinConfig(
        image_size=SIDE, embed_dim=8, depths=[1] * 4, num_heads=heads, window_size=4, out_features=stages
    )


def sam(folder):
    config = transformers.SamConfig(vision_config=_VISION, **_HEADS)
    transformers.SamModel(config).save_pretrained(folder)
    seen = transformers.SamImageProcessor(size={"longest_edge": SIDE}, pad_size=_SQUARE)
    transformers.SamProcessor(seen).save_pretrained(folder)


def sam_hq(folder):
    config = transformers.SamHQConfig(
        vision_config=_VISION, prompt_encoder_config=_PROMPTS, mask_decoder_config=_DECODER | {"vit_dim": 16}
    )
    transformers.SamHQModel(config).save_pretrained(folder)
    seen = transformers.SamImageProcessor(size={"longest_edge": SIDE}, pad_size=_SQUARE)
    transformers.SamHQProcessor(seen).save_pretrained(folder)


def sam2(folder):
    hiera = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1] * 4,
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 2],
        global_attention_blocks=[],
        window_positional_embedding_background_size=[4, 4],
        mlp_ratio=2.0,
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=16,
    )
    config = transformers.Sam2Config(
        vision_config=vision, prompt_encoder_config=_PROMPTS | {"patch_size": 16}, mask_decoder_config=_DECODER
    )
    transformers.Sam2Model(config).save_pretrained(folder)
    transformers.Sam2Processor(transformers.Sam2ImageProcessor(size=_SQUARE)).save_pretrained(folder)


def mask2former(folder):
    wide = {"feature_size": 32, "hidden_dim": 32}
    config = transformers.Mask2FormerConfig(backbone_config=_swin(), **wide, **_SMALL, **_LAYERS)
    transformers.Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    transformers.Mask2FormerImageProcessor(size=_SQUARE, num_labels=1, ignore_index=255).save_pretrained(folder)


def maskformer(folder):
    decoder = transformers.DetrConfig(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=12,
    )
    config = transformers.MaskFormerConfig(
        backbone_config=_swin(), decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, num_labels=1
    )
    transformers.MaskFormerForInstanceSegmentation(config).save_pretrained(folder)
    transformers.MaskFormerImageProcessor(size=_SQUARE, num_labels=1, ignore_index=255).save_pretrained(folder)


def oneformer(folder):
    config = transformers.OneFormerConfig(
        backbone_config=_swin(),
        conv_dim=32,
        hidden_dim=32,
        mask_dim=32,
        text_encoder_width=32,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=600,
        text_encoder_n_ctx=4,
        query_dec_layers=1,
        is_training=False,
        num_queries=12,
        num_labels=1,
        **_LAYERS,
    )
    transformers.OneFormerForUniversalSegmentation(config).save_pretrained(folder)
    (folder / "classes.json").write_text(json.dumps({"0": {"name": "crystal", "isthing": 1}}))
    seen = transformers.OneFormerImageProcessor(
        size=_SQUARE, num_labels=1, ignore_index=255, class_info_file="classes.json", repo_path=str(folder)
    )
    letters = [chr(k) for k in range(97, 123)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    tokens = transformers.CLIPTokenizer(vocab={word: k for k, word in enumerate(words)}, merges=[])
    transformers.OneFormerProcessor(seen, tokens).save_pretrained(folder)


def network(folder, classes=2, encoder="resnet18"):
    smp.Unet(encoder, encoder_weights=None, classes=classes).save_pretrained(folder)
