# SPDX-License-Identifier: Apache-2.0
"""All cases of the suite. Names are unique."""

import bugs_draws
import bugs_forward
import bugs_training
import clean_pairs

BUGS = bugs_forward.BUGS + bugs_draws.BUGS + bugs_training.BUGS
CLEANS = clean_pairs.CLEANS

_names = [case.id for case in BUGS + CLEANS]
assert len(set(_names)) == len(_names), "two cases have one name"
