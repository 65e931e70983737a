"""The Jobs tab: forms that start jobs, the queue, and one job in detail."""
