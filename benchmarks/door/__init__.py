"""Another simulator than our own: robosuite's Door, from recordings to a closed loop.

Everything that needs robosuite is imported from `simulator`; scripts/setup_door.sh makes an
environment with it. The report needs none.
"""
