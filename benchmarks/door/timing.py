"""When things happen at the door; robot.yaml says the same of the sensors."""

#: One control step, and how far readings of the wrench are apart [ms].
STEP_MS, READING_MS = 50, 10
STEP_S = STEP_MS * 1e-3
#: Images, and so a latent, every so many control steps: 2.5 Hz, since software renders them.
SEE_STEPS = 8
#: Readings of the wrench that the model takes.
WINDOW = 16
#: An attempt ends after so long [s].
ATTEMPT_S = 20.0
