"""Text generation as Gymnasium environments: dynamics, episodes, single and vector environment, tasks."""
