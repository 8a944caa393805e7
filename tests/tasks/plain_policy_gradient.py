"""A task from outside the package with a policy loss of its own: the policy gradient without ratio and clipping."""

# --8<-- [start:task]
from dataclasses import replace

from drpt.tasks.policy.task import VerifiableRewardsTask


class PlainPolicyGradient(VerifiableRewardsTask):
    """REINFORCE: each response's mean of −A log π over its tokens."""

    def build_algorithm(self, parts):
        """The estimator is the configuration's, the loss our own."""
        from drpt.objectives.policy import masked_mean
        from drpt.rl.policy_loss import PolicyLoss, group_terms

        class Reinforce(PolicyLoss):
            def losses(self, scores, known, terms, trajectories, tokens):
                per_token = -known.token_advantages * scores.tokens.logprobs
                figures = {"surprise": -scores.tokens.logprobs.detach().double().sum()}
                return masked_mean(per_token, known.response_mask), figures

        spec = parts.spec
        loss = Reinforce(
            spec.algorithm,
            group_terms(spec.algorithm),
            temperature=spec.rollout.temperature,
            max_tokens=spec.rollout.max_tokens,
            pad_token_id=parts.loaded.tokenizer.pad_token_id,
        )
        return replace(super().build_algorithm(parts), loss=loss)


# --8<-- [end:task]
