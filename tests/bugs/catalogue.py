# SPDX-License-Identifier: Apache-2.0
"""All cases of the suite. Names are unique."""

import bugs_draws
import bugs_engine
import bugs_forward
import bugs_handmade
import bugs_modern
import bugs_parallel
import bugs_state
import bugs_training
import bugs_unseen
import clean_pairs
import rewrites

BUGS = [bug for group in (bugs_forward, bugs_modern, bugs_draws, bugs_training, bugs_handmade,
                          bugs_state, bugs_parallel, bugs_engine, bugs_unseen) for bug in group.BUGS]
CLEANS = clean_pairs.CLEANS + bugs_unseen.CLEANS + rewrites.CLEANS

_names = [case.id for case in BUGS + CLEANS]
assert len(set(_names)) == len(_names), "two cases have one name"
