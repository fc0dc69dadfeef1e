"""Sharing a student: its model card, its way to the Hub, and its merged form for engines that know no adapters."""

from .errors import HubError
from .export import merge_to_folder
from .model_card import Result, TrainingSummary, add_results, save_model_card
from .push import push_to_hub


__all__ = ["HubError", "Result", "TrainingSummary", "add_results", "merge_to_folder", "push_to_hub", "save_model_card"]
